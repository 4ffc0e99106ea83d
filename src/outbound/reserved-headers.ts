/**
 * Headers that no setting lets through, and that code cannot send either. Sluice sets them itself, or they belong to
 * one connection, or they would undo what it checks: they name another method, path, host or client, or govern its
 * own origin.
 *
 * This is a guard against mistakes. What protects are the lists of what may travel, in client/headers.ts.
 */

/** Headers of a single connection (RFC 9110 §7.6.1). */
const CONNECTION = "connection|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.+";

const REQUEST = new RegExp(
  [
    `^(${CONNECTION}|host|expect|content-length|accept-encoding|via|x-request-id|cdn-loop|max-forwards`,
    "authorization|cookie2?|origin|referer|cf-.+|sec-.+|sluice-.+",
    "forwarded|x-forwarded.*|(.+-)?(client-?ip|real-ip|originating-ip|remote-(ip|addr|user))",
    "x-(original|rewrite|override|http|method|host)(-.+)?)$",
  ].join("|"),
);

const RESPONSE = new RegExp(
  [
    `^(${CONNECTION}|set-cookie2?|www-authenticate|clear-site-data|refresh|x-request-id|server-timing`,
    "content-security-policy.*|x-(content-type-options|frame-options|xss-protection|permitted-.+)",
    "(permissions|feature|referrer|document|require-document|integrity)-policy.*",
    "strict-transport-security|public-key-pins.*|cross-origin-.+|access-control-.+|origin-agent-cluster",
    "alt-svc|nel|report-to|reporting-endpoints|accept-ch|critical-ch|service-worker-allowed",
    "speculation-rules|supports-loading-mode|timing-allow-origin|x-dns-prefetch-control|sourcemap|x-sourcemap",
    "x-sendfile.*|x-accel-.+|x-lighttpd-.+|x-reproxy-.+|(.+-)?cdn-cache-control|surrogate-.+|cf-.+|sec-.+)$",
  ].join("|"),
);

/** `name` in lower case. */
export const isReservedInRequests = (name: string): boolean => REQUEST.test(name);
export const isReservedInResponses = (name: string): boolean => RESPONSE.test(name);
