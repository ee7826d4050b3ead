/**
 * Characters that can make a terminal or a reader show something else than what is there: DEL and C1 controls,
 * bidirectional marks and overrides, zero-width and other invisible characters, line and paragraph separators,
 * interlinear marks, tags. C0 controls and lone surrogates are JSON.stringify's own business.
 */
const HOSTILE =
  /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;

function unicodeEscape(match: string): string {
  let out = '';
  for (let i = 0; i < match.length; i++) out += `\\u${match.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return out;
}

/** JSON text in, JSON text of the same value out: hostile characters as \uXXXX. They only occur inside its strings. */
export function escapeJson(json: string): string {
  return json.replace(HOSTILE, unicodeEscape);
}

/** Any string as one line that a terminal shows as it is; the form of JSON strings without their quotes. */
export function escapePlain(text: string): string {
  return escapeJson(JSON.stringify(text).slice(1, -1)).replaceAll('\\"', '"');
}
