{{- define "kerntap.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "kerntap.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "kerntap.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "kerntap.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kerntap.collector.name" -}}
{{ include "kerntap.fullname" . }}-collector
{{- end }}

{{- define "kerntap.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kerntap.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kerntap.configMapName" -}}
{{- default (include "kerntap.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{/* What a selector may hold: it cannot change after the first install. */}}
{{- define "kerntap.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kerntap.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "kerntap.labels" -}}
{{ include "kerntap.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kerntap.image" -}}
{{- with .Values.image }}
{{- $name := .repository }}
{{- if .registry }}{{ $name = printf "%s/%s" .registry .repository }}{{ end }}
{{- if .digest }}
{{- printf "%s@%s" $name .digest }}
{{- else }}
{{- printf "%s:%s" $name (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kerntap.collector.endpoint" -}}
{{- if .Values.collector.endpoint }}
{{- .Values.collector.endpoint }}
{{- else if .Values.collector.enabled }}
{{- printf "%s:4750" (include "kerntap.collector.name" .) }}
{{- else }}
{{- fail "no collector: set collector.endpoint to HOST:PORT, collector.enabled to true, or config.stream.otlp.endpoint" }}
{{- end }}
{{- end }}

{{/* Four fifths of a size in Mi, Gi or Ti: the rest is for files that are still written, which retention leaves. */}}
{{- define "kerntap.collector.retainBytes" -}}
{{- $size := ternary .Values.collector.persistence.size .Values.collector.emptyDirSizeLimit .Values.collector.persistence.enabled | toString }}
{{- if .Values.collector.retention.bytes }}
{{- .Values.collector.retention.bytes }}
{{- else if regexMatch "^[0-9]+[MGT]i$" $size }}
{{- $mebibytes := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 }}
{{- $unit := substr (sub (len $size) 2 | int) (len $size) $size }}
{{- printf "%dMi" (div (mul (trimSuffix $unit $size | int64) (get $mebibytes $unit) 4) 5) }}
{{- else }}
{{- fail (printf "collector.retention.bytes is needed: the volume's size %s is not a whole number of Mi, Gi or Ti" $size) }}
{{- end }}
{{- end }}

{{/* HOST:PORT of the OTLP receiver that `config` names, or nothing. */}}
{{- define "kerntap.otlp.endpoint" -}}
{{- dig "stream" "otlp" "endpoint" "" .Values.config }}
{{- end }}

{{/* What of `config` is read at the start only. */}}
{{- define "kerntap.streamSettings" -}}
{{- with dig "stream" "" .Values.config }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* What the agent reads at its start only: a change of it restarts the pods, a change of the rest does not. */}}
{{- define "kerntap.startSettings" -}}
{{- with .Values.clusterName }}
clusterName: {{ . | quote }}
{{- end }}
{{- with .Values.clusterUid }}
clusterUid: {{ . | quote }}
{{- end }}
{{- with .Values.node }}
node:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.collector.enabled .Values.collector.endpoint (not (include "kerntap.otlp.endpoint" .)) }}
collector:
  endpoint: {{ include "kerntap.collector.endpoint" . | quote }}
{{- end }}
{{- if or .Values.kubelet.caFile (not .Values.kubelet.tlsVerify) }}
kubelet:
  {{- with .Values.kubelet.caFile }}
  caFile: {{ . | quote }}
  {{- end }}
  {{- if not .Values.kubelet.tlsVerify }}
  insecureSkipVerify: true
  {{- end }}
{{- end }}
{{- end }}

{{/* "true" where the folder of the kubelets' Pods API is mounted: the API server is never older than a kubelet. */}}
{{- define "kerntap.podsApi" -}}
{{- $has := semverCompare ">=1.36-0" .Capabilities.KubeVersion.Version }}
{{- if or (eq .Values.kubelet.podsApi "on") (and (eq .Values.kubelet.podsApi "auto") $has) }}true{{ end }}
{{- end }}
