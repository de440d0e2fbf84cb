/** Fields of events and rows as iproute2 strings them together. */
import { printable } from './output.js';

export type Fields = Readonly<Record<string, unknown>>;

export function list(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

export function family(address: unknown): string {
  return String(address).includes(':') ? 'inet6' : 'inet';
}

export function field(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

export function pair(word: string, value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? `${word} ${value}` : '';
}

export function words(...parts: readonly string[]): string {
  return printable(parts.filter((part) => part !== '').join(' '));
}
