/** One token for each scope, and for each that is of use only with "read", for tests of who may do what. */
const SCOPES = ["read", "write", "admin", "write+read", "admin+read"] as const;

/** The header that shows the token for a scope. For any other text, it shows a token that nobody has. */
export const authorization = (scope: string) => ({
  Authorization: `Bearer ${scope}-token-0123456789-0123456789`,
});

/** Variables with which only these tokens get in. */
export const TOKENS_BY_SCOPE = {
  ACCESS: "tokens",
  SLUICE_TOKENS: SCOPES.map((scope) => ({
    name: scope,
    scopes: scope.split("+"),
    token: `${scope}-token-0123456789-0123456789`,
  })),
};
