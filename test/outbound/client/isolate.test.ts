/** What an isolate knows of an upstream with several shards. */
import { expect, test } from "vitest";
import { LocalUpstream } from "../../../src/outbound/client/isolate.ts";
import { Place } from "../../../src/outbound/client/place.ts";
import { parseUpstream } from "../../support/upstreams.ts";

const local = () =>
  new LocalUpstream(parseUpstream({ entrypoint: "DemoUpstream", concurrency: 7, shards: 3 }));

/** A call that waits at a shard, and may take over a permit there. */
const join = (upstream: LocalUpstream, shard: number) => {
  const place = new Place("interactive", upstream.lineAt(shard));
  upstream.lineAt(shard).join(place);
  return place;
};

test("permits are handed on among the calls of one shard", () => {
  const upstream = local();
  const place = join(upstream, 1);
  expect(upstream.lineAt(0).takeNext()).toBeUndefined();
  expect(upstream.lineAt(1).takeNext()).toBe(place);
});

test("once the upstream asks for a pause, no permit of any shard is handed on", () => {
  const upstream = local();
  for (const shard of [0, 1, 2]) join(upstream, shard);
  upstream.pause();
  for (const shard of [0, 1, 2]) expect(upstream.lineAt(shard).takeNext()).toBeUndefined();
});

test("a shard that the upstream does not have is a mistake", () => {
  expect(() => local().lineAt(3)).toThrow("There is no shard 3");
});
