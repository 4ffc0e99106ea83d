/** Quoted-printable (RFC 2045 §6.7), as a client writes it: line breaks of bytes are escaped, lines have a maximum width. */
export function encodeQuotedPrintable(bytes: Uint8Array, width = 76): string {
  let [text, column] = ["", 0];
  for (const byte of bytes) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x3d;
    const piece = isPlain
      ? String.fromCharCode(byte)
      : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    if (column + piece.length >= width) [text, column] = [`${text}=\r\n`, 0];
    text += piece;
    column += piece.length;
  }
  return text;
}
