"""The queues of ComfyUI: watched while a process runs, resubmitted after it has exited."""
