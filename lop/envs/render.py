"""RGB pictures of one simulation, off screen: EGL or OSMesa without a display, GLFW with one."""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
import weakref
from typing import Any

import mujoco
import numpy as np

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_HELP = (
    "no OpenGL library for off-screen rendering: on Debian install libegl1 and libegl-mesa0 (or libosmesa6), "
    "or set MUJOCO_GL to egl, osmesa or glfw"
)


def choose_backend() -> str:
    """MuJoCo's name of the OpenGL backend to use: MUJOCO_GL if set, else by platform, display and installed libraries.

    RuntimeError, one line, where there is none.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower().strip()
    if asked in ("egl", "osmesa", "glfw", "cgl"):
        return asked
    if sys.platform != "linux":
        return "cgl" if sys.platform == "darwin" else "glfw"
    if os.environ.get("DISPLAY"):
        return "glfw"
    # looked up before any import: a failed import of one backend spoils PyOpenGL for the other
    for backend, library in _LIBRARIES.items():
        if ctypes.util.find_library(library):
            return backend
    raise RuntimeError(_HELP)


class OffscreenCamera:
    """Pictures from a named camera of a model.

    mujoco.Renderer takes its backend from the environment at `import mujoco`; this one chooses when it is made, so
    that a headless machine needs no MUJOCO_GL. RuntimeError where no backend works.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, width: int, height: int) -> None:
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        self._context, self._renderer = _open_context(model, width, height)
        # at exit too: freed during the interpreter's own tear-down, EGL prints a traceback
        self.close = weakref.finalize(self, _free, self._context, self._renderer)

    def picture(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        """What the camera sees [height, width, 3] uint8; data has been through mj_forward."""
        self._context.make_current()
        pixels = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._renderer)
        mujoco.mjr_readPixels(pixels, None, self._rect, self._renderer)
        return pixels[::-1].copy()


def _open_context(model: mujoco.MjModel, width: int, height: int) -> tuple[Any, mujoco.MjrContext]:
    backend = choose_backend()
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        context.make_current()
        renderer = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    # each backend fails in its own way: ImportError, AttributeError inside PyOpenGL, RuntimeError, mujoco.FatalError
    except Exception as error:
        raise RuntimeError(f"{_HELP} (tried {backend}: {type(error).__name__}: {error})") from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, renderer)
    return context, renderer


def _free(context: Any, renderer: mujoco.MjrContext) -> None:
    context.make_current()
    renderer.free()
    context.free()
