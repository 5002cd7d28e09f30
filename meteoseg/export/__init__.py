"""Results in the formats of other programs: QuPath, ImageJ and Fiji, napari.

`meteoseg.export.exporting.export_results` writes them; the command line is ``meteoseg export``.
"""
