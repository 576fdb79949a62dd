package disk

import "errors"

// ErrLocked is returned for a folder that another process has open.
var ErrLocked = errors.New("another process uses this folder")
