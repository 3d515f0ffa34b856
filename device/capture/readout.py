"""From the sensor's rows to the picture's: crops, binning and the image processor's scaling.

Three rectangles lie behind a frame, all counted in pixels of the sensor's full array:

    the array  ⊇  crop of the read-out mode (binned down to the mode's size)
               ⊇  ScalerCrop (resized by the image processor to the picture's size)

A picture row thus spans several (or a part of one) sensor rows, and the line time between picture
rows is the sensor's times that ratio. SensorTimestamp belongs to the mode's first row.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.capture.timing import FrameTiming

Rectangle = tuple[int, int, int, int]  # x, y, width, height in pixels of the full array
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Readout:
    """How the picture's pixels lie on the sensor.

    mode_size : rows and columns that the sensor sends, after binning.
    mode_crop : the part of the array the mode reads.
    scaler_crop : the part of the array the picture shows.
    size : of the picture.
    """

    mode_size: Size
    mode_crop: Rectangle
    scaler_crop: Rectangle
    size: Size

    @property
    def sensor_rows_per_row(self) -> float:
        """Rows that the sensor sends while the picture advances by one."""
        binning = self.mode_crop[3] / self.mode_size[1]
        return self.scaler_crop[3] / binning / self.size[1]

    @property
    def first_sensor_row(self) -> float:
        """The sensor row, counted in read-out, at the centre of the picture's row 0."""
        binning = self.mode_crop[3] / self.mode_size[1]
        top = (self.scaler_crop[1] - self.mode_crop[1]) / binning
        return top + self.sensor_rows_per_row / 2 - 0.5

    def timing(self, timestamp_ns: int, exposure_ns: int, line_time_ns: float) -> FrameTiming:
        """The timing of the picture's rows.

        timestamp_ns : SensorTimestamp. The Raspberry Pi's is the frame-start interrupt: the
            read-out of the first row, thus the END of its exposure (not its start, as libcamera
            documents).
        line_time_ns : of the sensor; 0 for a global shutter.

        The order is always top_down: flips are done in the sensor, so the picture's first row is
        the first one read, whichever part of the scene it shows.
        """
        offset_ns = round(self.first_sensor_row * line_time_ns)
        return FrameTiming(
            first_row_end_ns=timestamp_ns + offset_ns,
            exposure_ns=exposure_ns,
            line_time_ns=line_time_ns * self.sensor_rows_per_row,
            row_order="top_down",
            height=self.size[1],
        )

    def intrinsics(self, focal_array_px: float, array: Size) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of the picture for a lens centred on the array.

        focal_array_px : focal length in pixels of the full array.
        """
        x, y, width, height = self.scaler_crop
        across, down = self.size[0] / width, self.size[1] / height
        # Pixel centres lie at integers: the corner of a picture is at -0.5.
        cx = (array[0] / 2 - x) * across - 0.5
        cy = (array[1] / 2 - y) * down - 0.5
        return focal_array_px * across, focal_array_px * down, cx, cy
