/** What the catalogues report. */
import type { Row } from "./row.ts";

export const FILE_ROWS: readonly Row[] = [
  {
    from: "catalogue",
    key: "begun",
    name: "sluice_uploads_begun",
    type: "counter",
    labels: [],
    help: "Uploads, and files that tasks make, whose bytes began to go to R2: of a resumable one, with its first part.",
  },
  {
    from: "catalogue",
    key: "finished",
    name: "sluice_uploads_finished",
    type: "counter",
    labels: [],
    help: "Those of them that have become files.",
  },
  {
    from: "catalogue",
    key: "broken-off",
    name: "sluice_uploads_broken_off",
    type: "counter",
    labels: ["reason"],
    values: ["digest", "other"],
    help: "Those of them whose bytes were discarded. digest: they did not have the digest that was sent with them.",
  },
  {
    from: "catalogue",
    key: "over-quota",
    name: "sluice_uploads_over_quota",
    type: "counter",
    labels: [],
    help: "Times that an upload, or a file that a task makes, was refused because a quota of stored bytes had no room for it.",
  },
  {
    from: "catalogue",
    key: "checksum",
    name: "sluice_upload_checksum_failures",
    type: "counter",
    labels: ["of"],
    values: ["file", "chunk"],
    help: "Bytes that did not have the checksum that was sent with them. chunk: of a resumable upload, which goes on.",
  },
  {
    from: "catalogue",
    key: "bytes",
    name: "sluice_upload_bytes",
    type: "counter",
    unit: "bytes",
    labels: [],
    help: "The sizes of the files that uploads have become.",
  },
  {
    from: "catalogue",
    key: "strays",
    name: "sluice_strays",
    type: "gauge",
    labels: ["state"],
    help: "Objects in R2 that belong to no file. reserved: not yet. due: no longer, and waiting to be removed.",
  },
];
