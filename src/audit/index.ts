/** The audit log: who has changed what, for 30 days. */
export { AuditLog } from "./audit-log.ts";
export { auditChanges, readAuditSettings } from "./record.ts";
export { auditRoutes } from "./routes.ts";
