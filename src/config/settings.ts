/** Settings as layers: defaults, a profile, the file, its overrides for this node. */
import { createHash } from 'node:crypto';
import type { Field, Given, SectionField } from './field.ts';
import { matchesGlob } from './glob.ts';
import { PROFILE_SETTINGS } from './profiles.ts';
import { type Override, PROFILES, SETTINGS_ROOT, type Settings } from './schema.ts';

/** Which node an override is judged for. */
export interface NodeIdentity {
  readonly name: string;
  /** Undefined: not known; no rule by labels matches then. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

function defaultOf(field: Field): unknown {
  if (field.type === 'section') return defaultsOf(field);
  return 'default' in field ? field.default : undefined;
}

function defaultsOf(section: SectionField): Given {
  return Object.fromEntries(Object.entries(section.keys).map(([name, field]) => [name, defaultOf(field)]));
}

function isGiven(value: unknown): value is Given {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Lays `top` over `base`: sections key by key, everything else whole. */
function overlay(section: SectionField, base: Given, top: Given): Given {
  const merged: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(top)) {
    const field = section.keys[name];
    const below = base[name];
    if (value === undefined || field === undefined) continue;
    merged[name] =
      field.type === 'section' && isGiven(value) ? overlay(field, isGiven(below) ? below : {}, value) : value;
  }
  return merged;
}

/** What holds where nothing is said. The table that gave these values also gave the type. */
export const DEFAULT_SETTINGS: Settings = defaultsOf(SETTINGS_ROOT) as unknown as Settings;

/** Lays checked values over settings. */
export function withGiven(settings: Settings, given: Given): Settings {
  return overlay(SETTINGS_ROOT, settings as unknown as Given, given) as unknown as Settings;
}

/**
 * A node's place from 0 to 100, by its name alone: nodes below 1 are the first percent, and stay among the first five.
 */
export function nodePlace(name: string): number {
  return (createHash('sha256').update(name).digest().readUInt32BE(0) / 0x1_0000_0000) * 100;
}

export function overrideMatches({ match }: Override, node: NodeIdentity): boolean {
  const { nodePercent, nodeLabels } = match;
  if (nodePercent !== undefined && nodePlace(node.name) >= nodePercent) return false;
  if (nodeLabels === undefined) return true;
  const { labels } = node;
  return (
    labels !== undefined &&
    Object.entries(nodeLabels).every(([name, pattern]) => {
      const value = Object.hasOwn(labels, name) ? labels[name] : undefined;
      return value !== undefined && matchesGlob(value, pattern);
    })
  );
}

/** A checked file as the settings of one node, on top of `base`. */
export function settle(file: Given, node: NodeIdentity, base: Settings = DEFAULT_SETTINGS): Settings {
  const profile = PROFILES.find((name) => name === file['profile']) ?? 'default';
  const stated = withGiven(withGiven(base, PROFILE_SETTINGS[profile]), file);
  const overrides = (file['overrides'] ?? []) as readonly Override[];
  const named = { ...node, name: stated.nodeName ?? node.name };
  return overrides
    .filter((override) => overrideMatches(override, named))
    .reduce((settings, { set }) => withGiven(settings, set ?? {}), stated);
}
