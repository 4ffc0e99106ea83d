/** The Worker under test: the real one, and beside it an upstream that the tests can script. */
// By itself, and first: with it the upstream is known by the time the Worker reads its variables.
import "./scripted-upstream.ts";

export {
  DemoUpstream,
  default,
  FileCatalogue,
  FileTasks,
  Scheduler,
  Semaphore,
  TaskLedger,
  TaskRunner,
  UploadSession,
} from "../../src/index.ts";
export { ScriptedUpstream } from "./scripted-upstream.ts";
