const TOKEN = 'signalbox.token';

/**
 * Returns the token of the link (`#token=...`) and removes it from the address bar, so that it is not shown or copied.
 * Session storage keeps it across a reload, unless storage is disabled.
 */
export function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) history.replaceState(history.state, '', location.pathname + location.search);
  try {
    if (token) sessionStorage.setItem(TOKEN, token);
    return sessionStorage.getItem(TOKEN) ?? undefined;
  } catch {
    return token ?? undefined;
  }
}
