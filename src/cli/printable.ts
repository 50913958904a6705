// Text for a terminal. Names and labels are whatever somebody has given a container, and a terminal obeys what it is shown.

/** Controls, but for line ends and tabs, and what turns the direction of writing. */
// eslint-disable-next-line no-control-regex
const COMMANDS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** What a terminal would obey is shown as its number: "\x1b". */
export function printable(text: string): string {
  return text.replace(COMMANDS, (character) => {
    const number = character.charCodeAt(0).toString(16);
    return number.length <= 2 ? `\\x${number.padStart(2, '0')}` : `\\u${number}`;
  });
}

/** The same of something that is one line. */
export function printableLine(text: string): string {
  return printable(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}
