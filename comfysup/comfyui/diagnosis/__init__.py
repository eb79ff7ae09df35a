"""Why a process of ComfyUI ended, and what is wrong with one that runs."""
