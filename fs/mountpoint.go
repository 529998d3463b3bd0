package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepare makes a mount point fit for mounting, or says why it is not. It returns the absolute path.
func prepare(mountpoint, storePath string) (string, error) {
	mountpoint, err := resolve(mountpoint)
	if err != nil {
		return "", err
	}
	if err := bury(mountpoint); err != nil {
		return "", err
	}
	st, err := os.Stat(mountpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: mount point does not exist", mountpoint)
	case err != nil:
		return "", fmt.Errorf("mount point: %w", err)
	case !st.IsDir():
		return "", fmt.Errorf("%s: mount point is not a folder", mountpoint)
	}
	if m, err := mountAt(mountpoint); err == nil && m != nil && m.Kind == "fuse."+name {
		return "", fmt.Errorf("%s: %s is mounted there already", mountpoint, m.Source)
	}
	if err := apart(mountpoint, storePath); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(mountpoint)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("%s: mount point is not empty (it holds %q)", mountpoint, entries[0].Name())
	}
	return mountpoint, nil
}

// apart refuses a store and a mount point of which one holds the other. Folders are compared, not paths, so that
// neither symlinks nor bind mounts deceive.
func apart(mountpoint, storePath string) error {
	switch {
	case holds(storePath, mountpoint) && holds(mountpoint, storePath):
		return fmt.Errorf("%s: store and mount point are the same folder", mountpoint)
	case holds(storePath, mountpoint):
		return fmt.Errorf("%s: mount point lies inside the store %s", mountpoint, storePath)
	case holds(mountpoint, storePath):
		return fmt.Errorf("%s: the store %s lies inside the mount point", mountpoint, storePath)
	}
	return nil
}

func holds(outer, inner string) bool {
	o, err := os.Stat(outer)
	if err != nil {
		return false
	}
	for p := inner; ; p = filepath.Dir(p) {
		if st, err := os.Stat(p); err == nil && os.SameFile(st, o) {
			return true
		}
		if p == filepath.Dir(p) {
			return false
		}
	}
}

// resolve is the absolute path without symlinks. The last element may be a dead mount, which cannot be looked at.
func resolve(mountpoint string) (string, error) {
	p, err := filepath.Abs(mountpoint)
	if err != nil {
		return "", err
	}
	if dead(p) {
		parent, err := filepath.EvalSymlinks(filepath.Dir(p))
		return filepath.Join(parent, filepath.Base(p)), err
	}
	real, err := filepath.EvalSymlinks(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: mount point does not exist", p)
	}
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	return real, nil
}

// dead reports a mount whose server is gone. stat would answer from its cache.
func dead(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == unix.ENOTCONN
}

// bury detaches dead mounts; there may be one on another.
func bury(mountpoint string) error {
	for range 8 {
		if !dead(mountpoint) {
			return nil
		}
		if err := Unmount(mountpoint); err != nil {
			return fmt.Errorf("cannot remove the dead mount: %w", err)
		}
	}
	return fmt.Errorf("%s: too many dead mounts on one another", mountpoint)
}

// Unmount detaches any excpfs mount point, also a dead one (for the command).
func Unmount(mountpoint string) error {
	mountpoint, err := resolve(mountpoint)
	if err != nil {
		return err
	}
	m, err := mountAt(mountpoint)
	if err != nil {
		return err
	}
	if m == nil || m.Kind != "fuse."+name {
		return fmt.Errorf("%s: not a mount point of %s", mountpoint, name)
	}
	return detach(mountpoint)
}

// detach unmounts, lazily if something is open: that is served until it is closed.
func detach(mountpoint string) error {
	if os.Geteuid() == 0 {
		if unix.Unmount(mountpoint, 0) == nil {
			return nil
		}
		if err := unix.Unmount(mountpoint, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", mountpoint, err)
		}
		return nil
	}
	if exec.Command("fusermount3", "-q", "-u", mountpoint).Run() == nil {
		return nil
	}
	if out, err := exec.Command("fusermount3", "-u", "-z", mountpoint).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount %s: %w: %s", mountpoint, err, bytes.TrimSpace(out))
	}
	return nil
}

// mountAt is the topmost mount at a path, or nil.
func mountAt(path string) (*MountInfo, error) {
	all, err := Mounts()
	var top *MountInfo
	for _, m := range all {
		if m.Point == path {
			top = &m
		}
	}
	return top, err
}
