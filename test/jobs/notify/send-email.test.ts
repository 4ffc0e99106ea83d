/** `send_email`, from its submission to the files in which the local binding keeps what it has sent. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type EmailInput, emailInputSchema } from "../../../src/jobs/notify/email-input.ts";
import { failureOf, send } from "../../../src/jobs/notify/send-email.ts";
import { NonRetryableError, RetryLaterError } from "../../../src/tasks/index.ts";
import { callForJson } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import { follow, rejection } from "../../support/followed.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { recordedBinding, sentFiles, textOf } from "../../support/sent-emails.ts";
import { submit } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";

const ADA = "ada@example.com";
const HELLO = { to: ADA, subject: "Hello", text: "Hello, Ada!" };

keepQuiet();
beforeEach(async () => reset());

/** The input as the job gets it. */
const parsed = (input: object): EmailInput => emailInputSchema.parse({ ...HELLO, ...input });

/** What the binding was given for an input. */
async function messageFor(input: object): Promise<EmailMessageBuilder> {
  const { sent, env } = recordedBinding();
  await send(env, new TestTask("s0-task").context(), parsed(input));
  const [message] = sent;
  if (!message) throw new Error("nothing was sent");
  return message;
}

test("an e-mail is sent to all, with text, HTML and its attachments", async () => {
  const bytes = new Uint8Array([0, 255, 13, 10, 46]);
  await putFile("report", bytes, { headers: { "Content-Type": "application/pdf" } });
  const { task, events } = await follow("send_email", {
    to: [{ email: ADA, name: "Ada Lövelace 🩻" }],
    cc: "bob@sluice.example",
    subject: "Übersicht 🩻",
    markdown: "# Today\n\nAll is **well**.\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    attachments: [{ fileId: "report", filename: "Übersicht.pdf" }],
  });
  expect(task).toMatchObject({
    status: "succeeded",
    attempt: 1,
    result: { messageId: expect.stringContaining("@"), recipients: 2 },
  });
  expect(events).toContainEqual(
    expect.objectContaining({ data: expect.objectContaining({ message: "E-mail to 2 recipients: sent" }) }),
  );
  const { messageId } = task.result as { messageId: string };
  const files = await sentFiles(messageId, 3);
  expect(textOf(files, "text")).toEqual([expect.stringContaining("All is **well**.")]);
  const [html] = textOf(files, "html");
  expect(html).toContain("<h1>Today</h1>");
  expect(html).toContain("All is <strong>well</strong>.");
  expect(html).toContain("<td>1</td>");
  const [attachment] = files.filter(({ kind }) => kind === "attachment");
  expect(Buffer.from(String(attachment?.base64), "base64")).toEqual(Buffer.from(bytes));
});

describe("the message", () => {
  test("has what was given, the default sender, and the id of its task", async () => {
    expect(await messageFor({ reply_to: "team@elsewhere.example" })).toEqual({
      from: "reports@example.com",
      to: [ADA],
      subject: "Hello",
      text: "Hello, Ada!",
      replyTo: "team@elsewhere.example",
      headers: { "X-Sluice-Task": "s0-task" },
    });
  });

  test("has names, and each kind of recipient", async () => {
    const from = { email: "alerts@example.com", name: "Alerts, Sluice" };
    const cc = [{ email: "b@sluice.example", name: 'B "quoted"' }];
    expect(await messageFor({ from, cc, bcc: "C@Sluice.Example" })).toMatchObject({
      from,
      to: [ADA],
      cc,
      bcc: ["C@Sluice.Example"],
    });
  });

  test("has a file's own name and media type, without what could break a header", async () => {
    await putFile("a", "1", {
      headers: {
        "Content-Type": 'text/csv; charset="utf-8"',
        "Content-Disposition": 'attachment; filename="a b.csv"',
      },
    });
    const { attachments } = await messageFor({ attachments: [{ fileId: "a" }] });
    expect(attachments).toMatchObject([{ filename: "a b.csv", type: "text/csv", disposition: "attachment" }]);
  });

  test("prefers the text that was given to its Markdown", async () => {
    expect(await messageFor({ text: "plain", markdown: "*x*" })).toMatchObject({
      text: "plain",
      html: "<p><em>x</em></p>\n",
    });
    expect(await messageFor({ text: undefined, html: "<b>x</b>" })).not.toHaveProperty("text");
  });
});

describe("an e-mail is sent once", () => {
  test("wherever a run is cut, but for the moment between the sending and its record", async () => {
    await putFile("a", "1");
    const input = parsed({ attachments: [{ fileId: "a" }] });
    const sentAt: number[] = [];
    const ids = new Set<string>();
    await cutAtEveryMoment(
      async (cutAt) => {
        const { sent, env } = recordedBinding();
        return async (ctx) => {
          const result = await send(env, ctx, input).finally(() => (sentAt[cutAt] = sent.length));
          for (const message of sent) ids.add(String(message.headers?.["X-Sluice-Task"]));
          return result;
        };
      },
      ({ recipients }) => expect(recipients).toBe(1),
    );
    // Cut before the step, after its action, after its record, and not at all.
    expect(sentAt.slice(1)).toEqual([1, 2, 1, 1]);
    expect(ids.size).toBe(1);
  });

  test("although the attempt before it failed", async () => {
    let isDown = true;
    const { sent, env } = recordedBinding(() => {
      if (isDown) throw Object.assign(new Error("try later"), { code: "E_INTERNAL_SERVER_ERROR" });
    });
    const task = new TestTask();
    const run = async () => task.run(async (ctx) => send(env, ctx, parsed({})));
    await expect(run()).rejects.toThrow("E_INTERNAL_SERVER_ERROR: try later");
    isDown = false;
    await run();
    expect(sent).toHaveLength(1);
  });
});

describe("nothing is sent", () => {
  const failure = async (input: object): Promise<unknown> => {
    const { sent, env } = recordedBinding();
    const error: unknown = await send(env, new TestTask().context(), parsed(input)).catch(
      (thrown: unknown) => thrown,
    );
    expect(sent).toEqual([]);
    return error;
  };

  test("if a file is missing", async () => {
    const error = await failure({ attachments: [{ fileId: "none" }] });
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(String(error)).toContain("there is no file none");
  });

  test("if the message would be longer than the platform takes", async () => {
    const half = new Uint8Array(10 * 1024 * 1024);
    await putFile("one", half);
    await putFile("two", half);
    const error = await failure({ attachments: [{ fileId: "one" }, { fileId: "two" }] });
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(String(error)).toContain("With two the e-mail is longer than 26214400 bytes.");
  });
});

describe("an error of the platform", () => {
  const thrown = (code: unknown) => failureOf(Object.assign(new Error("so it says"), { code }));

  test.each(["E_RECIPIENT_SUPPRESSED", "E_SENDER_NOT_VERIFIED", "E_CONTENT_TOO_LARGE", "E_VALIDATION_ERROR"])(
    "%s fails the task for good",
    (code) => {
      expect(thrown(code)).toBeInstanceOf(NonRetryableError);
      expect(String(thrown(code))).toContain(`${code}: so it says`);
    },
  );

  test.each([
    ["E_INTERNAL_SERVER_ERROR", 0],
    ["E_DELIVERY_FAILED", 0],
    ["E_RATE_LIMIT_EXCEEDED", 60_000],
    ["E_DAILY_LIMIT_EXCEEDED", 3_600_000],
  ])("%s fails the attempt, and the next one begins after %d ms at least", (code, afterMs) => {
    const startedAtMs = Date.now();
    const error = thrown(code);
    expect(error).toBeInstanceOf(RetryLaterError);
    expect((error as RetryLaterError).notBeforeMs).toBeGreaterThanOrEqual(startedAtMs + afterMs);
  });

  test.each([undefined, 7, "ECONNRESET"])("with the code %s is taken as it is", (code) => {
    expect(thrown(code)).toMatchObject({ name: "Error", message: "so it says" });
  });
});

test("without the binding, the type says what is missing, and takes no task", async () => {
  const variables = { EMAIL: undefined };
  const types = await callForJson("/task-types", { variables });
  expect(types.body.taskTypes).toContainEqual(
    expect.objectContaining({
      name: "send_email",
      available: false,
      unavailableReason: "The binding EMAIL is missing: add [[send_email]] to wrangler.toml.",
    }),
  );
  const { status, body } = await submit({ type: "send_email", input: HELLO }, { variables });
  expect([status, body.type]).toEqual([503, "urn:sluice:problem:task-type-unavailable"]);
});

describe("a submission is rejected", () => {
  const names = (name: string) => ({ email: ADA, name });
  test.each<[string, object, Record<string, unknown>]>([
    [
      "without recipient, subject and content",
      { to: undefined, subject: undefined, text: undefined },
      { to: expect.any(String), subject: expect.any(String) },
    ],
    ["without content", { text: undefined }, { text: expect.stringContaining("text, html or markdown") }],
    [
      "with two contents in HTML",
      { html: "a", markdown: "b" },
      { markdown: expect.stringContaining("not both") },
    ],
    [
      "for a recipient who is not allowed",
      { to: [ADA, "eve@evil.example"] },
      { "to/1": expect.stringContaining("EMAIL_RECIPIENTS") },
    ],
    [
      "for a copy to such a one",
      { cc: "eve@evil.example" },
      { "cc/0": expect.stringContaining("eve@evil.example") },
    ],
    [
      "for a blind copy to such a one",
      { bcc: "eve@evil.example" },
      { "bcc/0": expect.stringContaining("eve@evil.example") },
    ],
    [
      "for a subdomain of a domain that is allowed",
      { to: "a@x.sluice.example" },
      { "to/0": expect.any(String) },
    ],
    ["for a domain that ends like it", { to: "a@notsluice.example" }, { "to/0": expect.any(String) }],
    ["for two addresses in one", { to: `${ADA},eve@evil.example` }, { to: expect.any(String) }],
    [
      "for an address with a line break",
      { to: `${ADA}\r\nBcc: eve@evil.example` },
      { to: expect.any(String) },
    ],
    ["for an address with a name in it", { to: `Eve <${ADA}>` }, { to: expect.any(String) }],
    [
      "for a name with a line break",
      { to: names("Ada\r\nBcc: eve@evil.example") },
      { to: expect.any(String) },
    ],
    [
      "for a subject with a line break",
      { subject: "Hi\nBcc: eve@evil.example" },
      { subject: expect.stringContaining("one line") },
    ],
    [
      "for a subject with a line separator",
      { subject: "Hi\u2028there" },
      { subject: expect.stringContaining("one line") },
    ],
    [
      "for a subject with half a character",
      { subject: "\ud83e" },
      { subject: expect.stringContaining("one line") },
    ],
    ["for a subject that is empty", { subject: "" }, { subject: expect.any(String) }],
    ["for a subject that is too long", { subject: "a".repeat(999) }, { subject: expect.any(String) }],
    [
      "for a file name with a line break",
      { attachments: [{ fileId: "a", filename: "a\r\nb" }] },
      { "attachments/0/filename": expect.any(String) },
    ],
    [
      "for a sender who is not allowed",
      { from: "eve@example.com" },
      { from: expect.stringContaining("reports@example.com") },
    ],
    ["for a reply to what is no address", { reply_to: "nobody" }, { reply_to: expect.any(String) }],
    [
      "for too many recipients",
      { to: Array.from({ length: 51 }, (_, n) => `a${n}@sluice.example`) },
      { to: expect.stringContaining("50") },
    ],
    [
      "for too many attachments",
      { attachments: Array.from({ length: 33 }, () => ({ fileId: "a" })) },
      { attachments: expect.any(String) },
    ],
    ["for a member that there is not", { headers: {} }, { "json/input": expect.stringContaining("headers") }],
  ])("%s", async (_name, changes, errors) => {
    expect(await rejection("send_email", { ...HELLO, ...changes })).toEqual(errors);
  });
});
