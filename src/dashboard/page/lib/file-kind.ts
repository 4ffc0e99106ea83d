/** How a file is previewed, by its media type. Nothing of a file runs: HTML and SVG are shown as their text. */
export type Kind = "image" | "audio" | "video" | "csv" | "pdf" | "text" | "none";

export function kindOf(contentType: string): Kind {
  const type = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
  const [family = ""] = type.split("/");
  if (family === "image" && !type.includes("svg")) return "image";
  if (family === "audio" || family === "video") return family;
  if (/^text\/(csv|tab-separated-values)$/.test(type)) return "csv";
  if (type === "application/pdf") return "pdf";
  return family === "text" || /[/+.-](json|xml|ndjson|yaml|javascript)$/.test(type) ? "text" : "none";
}
