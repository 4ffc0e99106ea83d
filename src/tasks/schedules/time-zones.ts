/**
 * Which time zones a schedule may have: the names of the IANA database, in any case.
 *
 * The runtime knows them through ICU, which also accepts old names of its own, and reads them in a way that hardly anyone
 * expects: BST is Dhaka to it, AST is Anchorage, and IST is Kolkata but neither Israel nor Ireland. They are not in the
 * database, and are rejected. Names that are (EST, EST5EDT, US/Pacific, Asia/Calcutta) are accepted.
 */

/** ICU's names that the database does not have: those of `icuzones` in ICU's source, and two that it has dropped. */
const ICU_ALIASES = new Set(
  (
    "ACT AET AGT ART AST BET BST CAT CNT CST CTT EAT ECT IET IST JST MIT NET NST PLT PNT PRT PST SST VST " +
    "US/PACIFIC-NEW CANADA/EAST-SASKATCHEWAN"
  ).split(" "),
);

/** An offset is not accepted: it is not a zone, and would ignore daylight saving time. */
export function timeZoneError(timeZone: string): string | undefined {
  if (isInDatabase(timeZone)) return undefined;
  return `"${timeZone}" is not a time zone of the IANA database, such as UTC or Europe/Berlin.`;
}

function isInDatabase(timeZone: string): boolean {
  const name = timeZone.toUpperCase();
  if (!/^[A-Z]/.test(name) || ICU_ALIASES.has(name) || name.startsWith("SYSTEMV/")) return false;
  try {
    return new Intl.DateTimeFormat("en", { timeZone }).format(0) !== "";
  } catch {
    return false;
  }
}
