"""Every reader of files: tables, maps, pictures, sounds, slices, scans and posed photographs. It knows no problem."""
