"""Image formats by the suffix of a file name and by the first bytes of a file."""

# Formats that thaw.data.decoding reads
READ = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff",
    ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
)  # fmt: skip
# Formats that it does not read. They count as images, since an error that names the format is
# better than a class that lacks them.
REFUSED = (
    ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".dcm", ".dicom", ".psd", ".xcf", ".svg", ".tga",
    ".exr", ".pcx", ".fits", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2",
)  # fmt: skip
IMAGES = READ + REFUSED
