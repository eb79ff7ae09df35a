"""The Python example of the external API, its `docker exec` replaced by calls of port 8001.

Shapes, names, time limits and the order of things are the example's own.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()

COMFYSUP = os.environ["COMFYSUP_URL"]


class ComfyUIInstance(BaseModel):
    id: int
    port: int
    name: str
    extra_args: str | None = ""
    enabled: bool | None = True


class StartInstancesRequest(BaseModel):
    environment: str | None = "comm"
    instances: list[ComfyUIInstance]


def call(method: str, path: str, body: object = None, *, timeout: float) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - a URL of the test's own
        f"{COMFYSUP}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - likewise
        parsed: dict[str, object] = json.load(answer)
        return parsed


def start(instance: ComfyUIInstance, environment: str, timeout: float) -> dict[str, object]:
    query = urllib.parse.urlencode({"environment": environment})
    body = instance.model_dump()
    return call("POST", f"/api/comfyui/start-single?{query}", body, timeout=timeout)


@app.post("/api/comfyui/start-instances")
def start_comfyui_instances(request: StartInstancesRequest) -> dict[str, object]:
    results: list[dict[str, object]] = []
    for instance in request.instances:
        if not instance.enabled:
            continue
        result: dict[str, object] = {
            "instance_id": instance.id,
            "name": instance.name,
            "port": instance.port,
        }
        try:
            answer = start(instance, request.environment or "comm", timeout=60)
            results.append(result | {"status": "started", "output": answer["output"]})
        except urllib.error.HTTPError as error:
            detail = json.load(error)["detail"]
            results.append(result | {"status": "failed", "error": detail})
        except TimeoutError:
            results.append(result | {"status": "timeout"})
    return {
        "status": "completed",
        "environment": request.environment,
        "results": results,
        "total_instances": len(request.instances),
        "started_instances": len([each for each in results if each["status"] == "started"]),
    }


@app.post("/api/comfyui/stop-all")
def stop_all_instances() -> dict[str, object]:
    answer = call("POST", "/api/comfyui/stop-all", timeout=30)
    return {
        "status": "success",
        "message": "All instances stopped",
        "output": answer["output"],
    }


@app.get("/api/comfyui/status")
def get_instances_status() -> dict[str, object]:
    answer = call("GET", "/api/comfyui/status", timeout=15)
    return {"status": "success", "output": answer["output"]}


@app.post("/api/comfyui/start-single")
def start_single_instance(
    instance: ComfyUIInstance, environment: str = "comm"
) -> dict[str, object]:
    try:
        answer = start(instance, environment, timeout=30)
    except urllib.error.HTTPError as error:
        detail = json.load(error)["detail"]
        raise HTTPException(500, f"Failed to start instance: {detail}") from error
    return {
        "status": "success",
        "message": f"Instance '{instance.name}' started on port {instance.port}",
        "output": answer["output"],
    }
