package store

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrBusy: the file is open; ErrChanged: it is not what was encoded. Both: try again later.
var (
	ErrBusy    = fmt.Errorf("store: the file is open: %w", unix.EBUSY)
	ErrChanged = fmt.Errorf("store: the file has changed: %w", unix.ESTALE)
)

var (
	errSealed = errors.New("store: the file has to be thawed first")
	errPlain  = errors.New("store: the file is plain")
)
