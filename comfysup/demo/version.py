"""The version of ComfyUI that is stood in for: what the stand-in does was seen on this one."""

VERSION = "0.3.64"
