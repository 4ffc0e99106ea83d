export { eventsLinkRoute, eventsRoute } from "./events-route.ts";
export { favicon } from "./favicon.ts";
export { dashboard } from "./routes.ts";
export { sessionRoutes, signIn } from "./session-routes.ts";
