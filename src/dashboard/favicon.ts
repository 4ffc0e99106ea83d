/** `GET /favicon.ico`: a sluice gate, half raised. Open, since a browser asks for it before anybody has shown a token. */
import { createRoute } from "@hono/zod-openapi";
import { createRouter } from "../kernel/app.ts";

/** An SVG in spite of the path's name: browsers go by the type of the response. */
const TYPE: string = "image/svg+xml";

const GATE = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="6" fill="#0b3954"/>
<path d="M6 6h20v3H6zM7 9h3v18H7zM22 9h3v18h-3z" fill="#e0e6ea"/>
<path d="M11 7h10v11H11z" fill="#f6ae2d"/>
<path d="M15 2h2v6h-2z" fill="#e0e6ea"/>
<path d="M11 21q2.5-2 5 0t5 0v6H11z" fill="#4fb3e8"/>
</svg>
`;

export const favicon = createRouter().openapi(
  createRoute({
    method: "get",
    path: "/favicon.ico",
    operationId: "getFavicon",
    tags: ["Service"],
    summary: "The icon of the pages",
    security: [],
    responses: { 200: { description: "An SVG.", content: { [TYPE]: { schema: { type: "string" } } } } },
  }),
  (c) => c.body(GATE, 200, { "Content-Type": TYPE, "Cache-Control": "public, max-age=86400" }),
);
