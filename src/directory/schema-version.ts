// The version of the directory's schema, and which others this agent gets on with.

/** That of directory.ovsschema. */
export const SCHEMA_VERSION = '1.6.0';

/**
 * Whether this agent can use rows of a directory of that version. Within a major version the schema only grows, by what need
 * not be there (test/golden/directory-schema.test.ts): so an older one, and a later one.
 */
export function isReadable(version: string): boolean {
  return majorOf(version) === majorOf(SCHEMA_VERSION);
}

function majorOf(version: string): string | undefined {
  return /^(\d+)\.\d+\.\d+$/.exec(version)?.[1];
}
