/** The form that trades a token for a session. The token is kept nowhere in the page. */
import { useSignal } from "@preact/signals";
import { signIn } from "./lib/api.ts";
import { notify } from "./lib/notices.tsx";

export function SignIn() {
  const error = useSignal("");
  const isBusy = useSignal(false);
  const token = useSignal("");
  const submit = async () => {
    isBusy.value = true;
    try {
      await signIn(token.value.trim());
    } catch (failure) {
      error.value = failure instanceof Error ? failure.message : String(failure);
    }
    isBusy.value = false;
  };
  return (
    <form
      class="card sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        submit().catch(notify);
      }}
    >
      <h1>Sign in</h1>
      {/* For password managers, which keep what they fill in under a name. */}
      <input type="text" autocomplete="username" value="sluice" readOnly hidden />
      <label for="token">A token of this Sluice</label>
      <input
        id="token"
        name="token"
        type="password"
        autocomplete="current-password"
        required
        value={token}
        onInput={({ currentTarget }) => {
          token.value = currentTarget.value;
        }}
        aria-describedby="token-help token-error"
      />
      <p id="token-help">
        One of the secret <code>SLUICE_TOKENS</code>. The browser then holds a session of twelve hours, not
        the token.
      </p>
      <p id="token-error" class="error" role="alert">
        {error}
      </p>
      <button type="submit" disabled={isBusy}>
        Sign in
      </button>
    </form>
  );
}
