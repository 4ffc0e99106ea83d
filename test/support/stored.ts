/** What is stored in R2 and in the catalogue; and versions of both for tests: watched, slow or failing. */
import { env, listDurableObjectIds, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import type { FileCatalogue } from "../../src/files/store/catalogue.ts";
import type { FileRow } from "../../src/files/store/schema.ts";
import { CATALOGUES, catalogueNamed } from "../../src/files/store/shards.ts";

export type StrayRow = { blob: string; upload_id: string | null; due_at_ms: number };

/** Without what the objects write about themselves. */
export const objectKeys = async () =>
  (await env.FILES.list()).objects.map(({ key }) => key).filter((key) => !key.startsWith("sluice/"));

/** The rows of all shards. */
export async function catalogueRows(): Promise<{ files: FileRow[]; strays: StrayRow[] }> {
  const shards = await Promise.all((await usedCatalogues()).map(rowsOf));
  return { files: shards.flatMap(({ files }) => files), strays: shards.flatMap(({ strays }) => strays) };
}

export const rowsOf = async (catalogue: DurableObjectStub<FileCatalogue>) =>
  runInDurableObject(catalogue, (_, { storage }) => ({
    files: storage.sql.exec<FileRow>("SELECT * FROM file ORDER BY id").toArray(),
    strays: storage.sql.exec<StrayRow>("SELECT * FROM stray ORDER BY blob").toArray(),
  }));

/** The shards that have been called. The others are empty, and starting each costs more than most tests. */
async function usedCatalogues(): Promise<DurableObjectStub<FileCatalogue>[]> {
  const used = (await listDurableObjectIds(env.FILE_CATALOGUE)).map(String);
  const isUsed = (name: string) => used.includes(String(env.FILE_CATALOGUE.idFromName(name)));
  return CATALOGUES.filter(isUsed).map((name) => catalogueNamed(env, name));
}

/** Makes each shard collect what is due, as its alarm does. */
export async function collect(): Promise<void> {
  for (const catalogue of await usedCatalogues()) await runDurableObjectAlarm(catalogue);
}

/** Everything that is stored after a collection; `NOTHING` if there is nothing. */
export async function whatIsLeft() {
  await collect();
  const { files, strays } = await catalogueRows();
  return { objects: await objectKeys(), files: files.map(({ id }) => id), strays };
}

/** The same, of these files alone. */
export async function whatIsLeftOf(...ids: string[]) {
  const { objects, files, strays } = await whatIsLeft();
  const isOne = (blob: string) => ids.some((id) => blob.startsWith(`files/${id}/`));
  return {
    objects: objects.filter(isOne),
    files: files.filter((id) => ids.includes(id)),
    strays: strays.filter(({ blob }) => isOne(blob)),
  };
}

export const NOTHING = { objects: [], files: [], strays: [] };

/** The bucket, which counts its open multipart uploads and the parts in flight; optionally with other methods. */
export function watchedBucket(
  change: Partial<R2Bucket> & { uploadPart?: UploadPart; complete?: Complete } = {},
) {
  const seen = { open: 0, sending: 0, maxSending: 0, partSizes: [] as number[] };
  const create = async (key: string) => {
    const upload = await env.FILES.createMultipartUpload(key);
    seen.open++;
    return {
      key: upload.key,
      uploadId: upload.uploadId,
      uploadPart: async (number: number, part: Uint8Array) => {
        seen.maxSending = Math.max(seen.maxSending, ++seen.sending);
        seen.partSizes.push(part.length);
        const send = async () => upload.uploadPart(number, part);
        return (change.uploadPart ? change.uploadPart(number, send) : send()).finally(() => seen.sending--);
      },
      complete: async (parts: R2UploadedPart[]) => {
        const complete = async () => upload.complete(parts);
        const object = await (change.complete ? change.complete(complete) : complete());
        seen.open--;
        return object;
      },
      abort: async () => {
        await upload.abort();
        seen.open--;
      },
    };
  };
  const bucket = changed(env.FILES, { createMultipartUpload: create, ...change });
  return { seen, variables: { FILES: bucket } };
}

type UploadPart = (number: number, send: () => Promise<R2UploadedPart>) => Promise<R2UploadedPart>;
type Complete = (complete: () => Promise<R2Object>) => Promise<R2Object>;

/** A binding with some of its methods replaced. */
export function changed<T extends object>(binding: T, methods: object): T {
  return new Proxy(binding, {
    get: (target, key): unknown => {
      if (Object.hasOwn(methods, key)) return Reflect.get(methods, key);
      const member: unknown = Reflect.get(target, key);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

type Calls = {
  [M in "find" | "reserve" | "commit" | "remove" | "discard"]?: (call: Call) => Promise<unknown>;
};
/** The original call. */
type Call = () => Promise<unknown>;

/** The catalogue, with other code instead of some of its methods, or around them. */
export function changedCatalogue(calls: Calls) {
  const getByName = (name: string) => {
    const stub = env.FILE_CATALOGUE.getByName(name);
    return new Proxy(stub, {
      get: (_, key): unknown => {
        const method = Reflect.get(stub, key) as unknown;
        if (!(key in calls) || typeof method !== "function") return method;
        // Not `bind` or `apply`: a stub would call them as methods of the object.
        const rpc = (stub as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[
          String(key)
        ];
        return async (...args: unknown[]) => calls[key as keyof Calls]?.(async () => rpc?.(...args));
      },
    });
  };
  return { variables: { FILE_CATALOGUE: { getByName } } };
}
