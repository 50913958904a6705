// What the operating system says when it refuses: ENOENT, EADDRINUSE, …

/** The `code` of an error of a system call; undefined for anything else. */
export function codeOf(error: unknown): string | undefined {
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
