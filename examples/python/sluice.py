"""Submits a task to Sluice and follows it: python3 sluice.py TYPE [INPUT]

SLUICE_URL (default: http://localhost:8787) and SLUICE_TOKEN say where, and as whom.
"""

import json
import os
import sys
import time
import uuid

import requests

URL = os.environ.get("SLUICE_URL", "http://localhost:8787").rstrip("/")
MAX_TRIES = 5
# Between two comments of a stream there are 15 s. After this long without one, the connection is dead.
SILENCE_S = 40

session = requests.Session()
if token := os.environ.get("SLUICE_TOKEN"):
    session.headers["Authorization"] = f"Bearer {token}"


class SluiceError(Exception):
    """A response that is a problem (RFC 9457)."""


def check(response):
    if response.ok:
        return response
    problem = response.json() if "json" in response.headers.get("Content-Type", "") else {}
    places = "".join(f"\n  {e['at']}: {e['detail']}" for e in problem.get("errors", []))
    raise SluiceError(f"{response.status_code} {problem.get('detail', response.reason)}{places}")


def submit(task_type, task_input):
    """Returns the id of the task. The key makes it one task, however often the request has to be sent."""
    headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
    response = None
    for attempt in range(MAX_TRIES):
        try:
            body = {"type": task_type, "input": task_input}
            response = session.post(f"{URL}/tasks", json=body, headers=headers, timeout=30)
            if response.status_code not in (409, 429, 502, 503, 504):
                return check(response).json()["id"]
            time.sleep(float(response.headers.get("Retry-After", 2**attempt)))
        except requests.ConnectionError:
            time.sleep(2**attempt)
    if response is not None:
        check(response)  # what it has said last
    raise SluiceError(f"{URL} does not respond.")


def events(lines):
    """The server-sent events in the lines of a stream, each a dict of its fields."""
    event = {}
    for line in lines:
        if line == "":
            if event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[name] = f"{event[name]}\n{value}" if name == "data" and name in event else value


def follow(task_id):
    """Yields (name, data) of each event of the task, once, until the task has ended."""
    last, retry_s = "", 1.0
    while True:
        try:
            with session.get(
                f"{URL}/tasks/{task_id}/events",
                headers={"Last-Event-ID": last},
                stream=True,
                timeout=(10, SILENCE_S),
            ) as response:
                if response.status_code == 204:
                    return
                if response.status_code != 429 and response.status_code < 500:
                    check(response)
                    response.encoding = "utf-8"
                    for event in events(response.iter_lines(chunk_size=1, decode_unicode=True)):
                        retry_s = float(event.get("retry", retry_s * 1000)) / 1000
                        if "data" in event:
                            last = event["id"]
                            yield event["event"], json.loads(event["data"])
        except requests.RequestException:
            pass
        time.sleep(retry_s)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    task_id = submit(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    print("submitted", task_id, flush=True)
    for name, data in follow(task_id):
        print(name, json.dumps(data), flush=True)
    task = check(session.get(f"{URL}/tasks/{task_id}", timeout=30)).json()
    print("result", json.dumps(task["result"]))
    sys.exit(0 if task["status"] == "succeeded" else 1)


if __name__ == "__main__":
    try:
        main()
    except SluiceError as error:
        sys.exit(str(error))
    except json.JSONDecodeError as error:
        sys.exit(f"The input is not JSON: {error}")
