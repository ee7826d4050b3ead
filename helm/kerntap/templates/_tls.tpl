{{/* helm, certManager, secret or off. Certificates of the chart's own are for the chart's own collector only. */}}
{{- define "kerntap.tls.mode" -}}
{{- $tls := .Values.collector.tls }}
{{- if .Values.collector.enabled }}
{{- if and (eq $tls.mode "secret") (not (and $tls.secret.server $tls.secret.agent)) }}
{{- fail "collector.tls.mode is secret: name the Secrets, collector.tls.secret.server and collector.tls.secret.agent" }}
{{- end }}
{{- $tls.mode }}
{{- else if eq $tls.mode "secret" }}
{{- if not $tls.secret.agent }}{{ fail "collector.tls.mode is secret: name the agents' Secret, collector.tls.secret.agent" }}{{ end }}
{{- $tls.mode }}
{{- else if and (eq $tls.mode "certManager") $tls.certManager.issuerRef }}
{{- $tls.mode }}
{{- else -}}
off
{{- end }}
{{- end }}

{{- define "kerntap.tls.serverSecret" -}}
{{- if eq (include "kerntap.tls.mode" .) "secret" }}{{ .Values.collector.tls.secret.server }}{{ else }}{{ include "kerntap.collector.name" . }}-tls{{ end }}
{{- end }}

{{- define "kerntap.tls.agentSecret" -}}
{{- if eq (include "kerntap.tls.mode" .) "secret" }}{{ .Values.collector.tls.secret.agent }}{{ else }}{{ include "kerntap.fullname" . }}-agent-tls{{ end }}
{{- end }}

{{/* The name in the agents' certificate; they share it. */}}
{{- define "kerntap.tls.agentName" -}}
{{ include "kerntap.fullname" . }}-agent
{{- end }}

{{/* What the collector is called by, as a YAML list. */}}
{{- define "kerntap.tls.serverNames" -}}
{{- $name := include "kerntap.collector.name" . }}
{{- $names := list $name }}
{{- range list "" ".svc" ".svc.cluster.local" }}
{{- $names = append $names (printf "%s.%s%s" $name $.Release.Namespace .) }}
{{- end }}
{{- toYaml (concat $names .Values.collector.tls.extraNames) }}
{{- end }}

{{/* Flags of whoever speaks to the collector, as YAML list items. */}}
{{- define "kerntap.tls.clientFlags" -}}
{{- if ne (include "kerntap.tls.mode" .) "off" -}}
- --collector-ca-file=/etc/kerntap-tls/ca.crt
- --collector-cert-file=/etc/kerntap-tls/tls.crt
- --collector-key-file=/etc/kerntap-tls/tls.key
{{- with .Values.collector.tls.serverName }}
- --collector-server-name={{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A certificate of the chart's own as the fields of a Secret: the one that is there, or a new one where there is none, where
`renewal` or its names changed, or when it is a year old. (dict "root" $ "ca" CA "keep" BOOL "secret" NAME "cn" NAME "names" LIST)
*/}}
{{- define "kerntap.tls.leaf" -}}
{{- $now := now | unixEpoch | int64 }}
{{- $for := printf "%s %s" (.root.Values.collector.tls.renewal | toString) (join "," .names) | sha256sum | trunc 16 }}
{{- $known := lookup "v1" "Secret" .root.Release.Namespace .secret | default dict }}
{{- $notes := ($known.metadata | default dict).annotations | default dict }}
{{- $issued := get $notes "kerntap.dev/issued" | default "0" | int64 }}
{{- $good := and .keep $known.data (eq (get $notes "kerntap.dev/issued-for") $for) (lt (sub $now $issued) 31536000) }}
{{- $cert := get ($known.data | default dict) "tls.crt" }}
{{- $key := get ($known.data | default dict) "tls.key" }}
{{- if not $good }}
{{- $made := genSignedCertWithKey .cn nil .names 1825 .ca (genPrivateKey "ecdsa") }}
{{- $cert = $made.Cert | b64enc }}
{{- $key = $made.Key | b64enc }}
{{- $issued = $now }}
{{- end }}
metadata:
  name: {{ .secret }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "kerntap.labels" (dict "root" .root "component" .component) | nindent 4 }}
  annotations:
    kerntap.dev/issued: {{ $issued | toString | quote }}
    kerntap.dev/issued-for: {{ $for | quote }}
type: kubernetes.io/tls
data:
  ca.crt: {{ .ca.Cert | b64enc }}
  tls.crt: {{ $cert }}
  tls.key: {{ $key }}
{{- end }}
