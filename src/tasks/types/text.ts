/**
 * Whether the ledger keeps a text unchanged. SQLite keeps UTF-8, in which half of a surrogate pair becomes another
 * character, and a NUL may end the text. A name that came back changed would not be found again.
 */
export const isKeptAsText = (text: string): boolean => text.isWellFormed() && !text.includes("\0");
