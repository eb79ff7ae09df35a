"""Diagnosis of ended ComfyUI processes, and conditions of running ones."""
