"""The queues of ComfyUI: watched while a process runs, handed in again after its end."""
