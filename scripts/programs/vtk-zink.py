#!/usr/bin/python3
"""VTK's renderers on Mesa's zink in GLX, off-screen: surfaces, volumes by ray casting, depth peeling, a hidden-line picture.

Prints an MD5 sum per picture.
"""
# display: xvfb
# apt: python3-vtk9 python3-numpy libgl1-mesa-dri xvfb xauth
import hashlib
import os
import sys

if "DISPLAY" not in os.environ:
    os.execvp("xvfb-run", ["xvfb-run", "-a", sys.executable, __file__])
os.environ.update(
    LIBGL_KOPPER_DISABLE="true", MESA_LOADER_DRIVER_OVERRIDE="zink", GALLIUM_DRIVER="zink", LIBGL_ALWAYS_SOFTWARE="1"
)
import vtk  # noqa: E402  (reads the environment)
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

wavelet = vtk.vtkRTAnalyticSource()
wavelet.SetWholeExtent(-16, 16, -16, 16, -16, 16)


def surface(source: vtk.vtkAlgorithm, *, opacity: float = 1.0, colours: bool = False) -> vtk.vtkActor:
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())
    mapper.SetScalarVisibility(colours)
    if colours:
        mapper.SetScalarRange(37, 277)
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetOpacity(opacity)
    return actor


def contours() -> vtk.vtkContourFilter:
    contour = vtk.vtkContourFilter()
    contour.SetInputConnection(wavelet.GetOutputPort())
    contour.GenerateValues(3, 120, 220)
    return contour


def volume(blend: str) -> vtk.vtkVolume:
    mapper = vtk.vtkGPUVolumeRayCastMapper()
    mapper.SetInputConnection(wavelet.GetOutputPort())
    mapper.UseJitteringOff()
    getattr(mapper, f"SetBlendModeTo{blend}")()
    colour, opacity = vtk.vtkColorTransferFunction(), vtk.vtkPiecewiseFunction()
    for at, red, green, blue, thick in ((40, 0, 0, 0.6, 0), (150, 0.2, 0.9, 0.3, 0.05), (270, 1, 0.4, 0, 0.6)):
        colour.AddRGBPoint(at, red, green, blue)
        opacity.AddPoint(at, thick)
    result = vtk.vtkVolume()
    result.SetMapper(mapper)
    result.GetProperty().SetColor(colour)
    result.GetProperty().SetScalarOpacity(opacity)
    result.GetProperty().ShadeOn()
    return result


def picture(name: str, *props: vtk.vtkProp, samples: int = 0, peeling: bool = False) -> None:
    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(samples)
    window.SetAlphaBitPlanes(peeling)
    window.SetSize(240, 180)
    window.AddRenderer(renderer)
    renderer.SetBackground(0.1, 0.15, 0.2)
    renderer.SetUseDepthPeeling(peeling)
    for prop in props:
        renderer.AddViewProp(prop)
    renderer.ResetCamera()
    for turn in range(2):
        renderer.GetActiveCamera().Azimuth(30 + turn * 40)
        renderer.GetActiveCamera().Elevation(15)
        renderer.ResetCameraClippingRange()
        window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(window)
        grab.ReadFrontBufferOff()
        grab.Update()
        pixels = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        assert len(set(map(tuple, pixels.tolist()))) > 20, f"{name} is blank"
        print(name, turn, pixels.shape, hashlib.md5(pixels.tobytes()).hexdigest(), flush=True)
    assert "zink" in window.ReportCapabilities(), "not on zink"


lines = surface(contours())
lines.GetProperty().EdgeVisibilityOn()
shiny = surface(contours())
shiny.GetProperty().SetInterpolationToPBR()
shiny.GetProperty().SetMetallic(0.7)
sphere = vtk.vtkSphereSource()
sphere.SetRadius(15)
picture("contours", surface(contours(), colours=True))
picture("multisampled", surface(contours(), colours=True), samples=4)
picture("edges", lines)
picture("metal", shiny)
picture("peeled", surface(contours(), opacity=0.4), surface(sphere, opacity=0.5), peeling=True)
picture("volume", volume("Composite"))
picture("brightest", volume("MaximumIntensity"))
