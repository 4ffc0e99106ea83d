/**
 * The OpenAPI document (3.1), made from the routes of the whole application.
 *
 * Each route describes itself. This file adds what concerns all of them, and changes one thing: generators of types
 * (openapi-typescript, for one) take a member that has a `default` to be always present. That is wrong in a request,
 * where the caller may leave it out. So the default moves into the member's description.
 */
import packageJson from "../../package.json";
import type { ApiDocument, Router } from "../kernel/app.ts";

type PathItem = NonNullable<ApiDocument["paths"]>[string];

export const VERSION = packageJson.version;

const INFO = {
  title: "Sluice",
  version: VERSION,
  description:
    "Background tasks, streamed files, and calls to other people's APIs under a limit that the whole fleet shares.",
  license: { name: packageJson.license, identifier: packageJson.license },
};

/** In the order in which `/docs` and `/` show them. */
const TAGS = [
  {
    name: "Examples",
    description: "A streamed response, background tasks, an upload, and a call under a shared limit.",
  },
  { name: "Tasks", description: "Work that outlives its request: submit, watch, steer and schedule it." },
  { name: "Files", description: "Bytes into R2 and out of it, and links that need no token." },
  {
    name: "Resumable uploads",
    description: "Uploads that survive a broken connection, by tus 1.0 or the IETF draft.",
  },
  { name: "Outbound", description: "Calls to the configured upstreams, each through its semaphore." },
  { name: "Service", description: "The pages, this document, metrics, and the health of the Worker." },
];

/**
 * Describes an application. Returns a function that gives the document for the origin under which the application is
 * called; everything else in it is made once, at the first call.
 */
export function describeApi(app: () => Router): (origin: string) => ApiDocument {
  let document: ApiDocument | undefined;
  return (origin) => {
    document ??= build(app());
    return { ...document, servers: [{ url: origin, description: "This Worker" }] };
  };
}

function build(app: Router): ApiDocument {
  const document = structuredClone(app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO, tags: TAGS }));
  moveDefaults(document);
  return { ...document, paths: Object.fromEntries(inReadingOrder(Object.entries(document.paths ?? {}))) };
}

/** The paths that need no token were mounted first, so that they need none; for a reader, they come after the others. */
function inReadingOrder(paths: [string, PathItem][]): [string, PathItem][] {
  const isOpen = (item: PathItem) => Object.values(item).every(({ security }) => security?.length === 0);
  return paths.toSorted(([, a], [, b]) => Number(isOpen(a)) - Number(isOpen(b)));
}

/** Keywords of a schema whose members are schemas by name. */
const MAPS_OF_SCHEMAS = new Set(["properties", "patternProperties", "$defs"]);
/** Keywords whose values are data. Parameters keep their default: generators make those optional by `required`. */
const SKIPPED = new Set(["example", "examples", "enum", "const", "parameters"]);

/** Moves the defaults of all schemas. Outside a schema, `default` is any other status of a response. */
function moveDefaults(node: unknown, isSchema = false): void {
  if (!isRecord(node)) return;
  if (isSchema) moveDefault(node);
  for (const [name, child] of Object.entries(node)) {
    if (SKIPPED.has(name)) continue;
    if (isRecord(child) && (name === "schemas" || (isSchema && MAPS_OF_SCHEMAS.has(name))))
      for (const schema of Object.values(child)) moveDefaults(schema, true);
    else moveDefaults(child, isSchema || name === "schema");
  }
}

function moveDefault(schema: Record<string, unknown>): void {
  if (!("default" in schema)) return;
  const { default: value, description } = schema;
  const sentence = `Default: \`${JSON.stringify(value)}\`.`;
  schema.description = typeof description === "string" ? `${description} ${sentence}` : sentence;
  delete schema.default;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
