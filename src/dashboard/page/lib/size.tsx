/** A size in bytes, in the unit that suits it. The exact one shows on hover. */
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function Size({ bytes }: { bytes: number }) {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return (
    <span title={`${bytes.toLocaleString()} bytes`}>
      {power === 0 ? bytes : value.toFixed(1)} {UNITS[power]}
    </span>
  );
}
