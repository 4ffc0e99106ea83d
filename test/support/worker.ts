/** The Worker under test: the real one, and beside it an upstream that the tests can script. */
export { DemoUpstream, default, Semaphore, TaskLedger } from "../../src/index.ts";
export { ScriptedUpstream } from "./scripted-upstream.ts";
