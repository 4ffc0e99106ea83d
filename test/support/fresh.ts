/** Empties what the test file before has left in storage: the files share their Workers. */
import { reset } from "cloudflare:test";
import { beforeAll } from "vitest";

beforeAll(async () => reset());
