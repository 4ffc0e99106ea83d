/** What the two protocols of `/uploads`, tus and the IETF draft, have in common. */

import { Problem } from "../../kernel/problem.ts";
import { contentTooLarge } from "../store/problems.ts";
import type { ProtocolOutcome, Snapshot } from "./snapshot.ts";
import type { UploadRequest } from "./upload-request.ts";

/** How one protocol reads requests and writes responses. Each method throws a `Problem` for what it rejects. */
export interface Protocol {
  name: Snapshot["protocol"];
  create(request: UploadRequest): Promise<Response>;
  /** Checks the headers of a request that reads the state of an upload (`HEAD`) or removes it (`DELETE`). */
  check(request: UploadRequest): void;
  describe(request: UploadRequest, upload: Snapshot): Headers;
  append(request: UploadRequest, id: string): Promise<Response>;
  /** The headers that a rejection has besides; undefined: there is no upload. */
  stateOf(request: UploadRequest, upload: Snapshot | undefined): Record<string, string>;
  /** Whether removing a complete upload also removes the file that it became. */
  removesFile: boolean;
}

export type RejectedOutcome = Exclude<ProtocolOutcome, { is: "accepted" }>;

/** What both protocols reject in the same way. */
export function commonRejection(
  request: UploadRequest,
  reason: "final" | "too-large" | "content-too-large" | "interrupted" | "preempted",
  headers: Record<string, string>,
): Problem {
  switch (reason) {
    case "final":
      return new Problem("forbidden", "This upload is made of others and takes no bytes of its own.", {
        headers,
      });
    case "too-large": {
      const detail = "An upload whose length was unknown at its creation cannot be this long.";
      return new Problem("too-large", detail, { headers });
    }
    case "content-too-large":
      return contentTooLarge(request.maxRequestBytes, headers);
    case "interrupted":
      return new Problem("client-gone", "The body broke off.", { headers });
    case "preempted":
      return new Problem("conflict", "Another request has taken over this upload.", { headers });
  }
}

/**
 * The upload, if it is complete and this request appends nothing at its end: either the response to its last bytes
 * was lost, or the client says only now that those were all. The request can then succeed once more.
 */
export function alreadyComplete(outcome: RejectedOutcome, offset: number): Snapshot | undefined {
  if (outcome.is !== "rejected" || outcome.reason !== "complete") return undefined;
  return outcome.isEmpty && offset === outcome.upload.offset ? outcome.upload : undefined;
}
