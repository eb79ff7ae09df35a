"""The environments of a workspace: directories `ComfyUI-<name>`, each with a venv."""
