package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// depths that are measured; the chain goes back and forth over the real steps, so
// that every difference is a real one.
var depths = []int{1, 4, 8}

const onMount, onHost = "mount", "host"

// reads prints what reading and writing through the mount costs, beside the host.
func (b *bench) reads() error {
	list, err := b.checkpoints()
	if err != nil {
		return err
	}
	for _, p := range []int{2, 1, 0} {
		r := reader{bench: b, store: filepath.Join(b.dir, "reads "+profiles[p].name), seconds: map[string][]float64{}}
		if err := r.prepare(list, profiles[p].flags); err != nil {
			return err
		}
		for i := range b.rounds {
			if err := r.round(i); err != nil {
				return err
			}
		}
		r.print(profiles[p].name)
		if err := os.RemoveAll(r.store); err != nil {
			return err
		}
	}
	return nil
}

type reader struct {
	*bench
	store, original string
	size            int64
	first           []string // offset and size of the tensor that is read first
	seconds         map[string][]float64
	peak            int64 // KiB
}

func (r *reader) prepare(list, flags []string) error {
	r.original = filepath.Join(r.dir, "original.safetensors")
	for i := 0; i <= depths[len(depths)-1]; i++ {
		at := i % (2*len(list) - 2)
		if at >= len(list) {
			at = 2*len(list) - 2 - at
		}
		folder := filepath.Join(r.dir, "step", fmt.Sprintf("checkpoint-%d", i))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		large := filepath.Join(folder, files[0])
		if err := tile(filepath.Join(list[at], files[0]), large, int64(r.mb)<<20, i); err != nil {
			return err
		}
		previous := fmt.Sprintf("checkpoint-%d/%s", i-1, files[0])
		args := flags
		if i > 0 { // the same step comes again: name the base, so that the depth grows
			args = append([]string{"--base", filepath.Join(r.store, previous)}, flags...)
		}
		if err := r.pack(filepath.Base(r.store), args, []string{folder}); err != nil {
			return err
		}
		if err := os.Rename(large, r.original); err != nil {
			return err
		}
	}
	at, n, err := lastTensor(r.original)
	if err != nil {
		return err
	}
	r.first = []string{fmt.Sprint(at), fmt.Sprint(n)}
	r.size, err = size(r.original)
	return err
}

// round measures everything once; every other round goes the other way round.
func (r *reader) round(n int) error {
	jobs := []func() error{r.host, r.writes}
	for _, d := range depths {
		jobs = append(jobs, func() error { return r.depth(d) })
	}
	for i := range jobs {
		if n%2 == 1 {
			i = len(jobs) - 1 - i
		}
		if err := jobs[i](); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) host() error {
	for _, how := range []string{"read", "mmap"} {
		if err := forget(r.original); err != nil {
			return err
		}
		if err := errors.Join(r.measure(onHost+" "+how+" cold", how, r.original), r.measure(onHost+" "+how+" warm", how, r.original)); err != nil {
			return err
		}
	}
	return r.measure(onHost+" first", "first", append([]string{r.original}, r.first...)...)
}

// depth measures with a fresh daemon for each cold read: nothing is cached but the
// archives, by the host.
func (r *reader) depth(d int) error {
	name := fmt.Sprintf("checkpoint-%d/%s", d, files[0])
	for _, how := range []string{"read", "mmap", "first"} {
		m, err := r.mount(r.store)
		if err != nil {
			return err
		}
		exec.Command("sh", "-c", `cat "$0"/*/*.excp > /dev/null`, r.store).Run()
		key := fmt.Sprintf("%s depth %d %s", onMount, d, how)
		args := append([]string{filepath.Join(m.point, name)}, r.first...)
		err = errors.Join(r.measure(key+" cold", how, args...), r.measure(key+" warm", how, args...))
		r.peak = max(r.peak, m.peak())
		if err := errors.Join(err, m.umount()); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) writes() error {
	store := filepath.Join(r.dir, "written")
	if err := os.MkdirAll(store, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(store)
	host := filepath.Join(r.dir, "written.safetensors")
	defer os.Remove(host)
	m, err := r.mount(store)
	if err != nil {
		return err
	}
	err = errors.Join(r.measure(onHost+" write", "write", host, r.original),
		r.measure(onMount+" write", "write", filepath.Join(m.point, "model.safetensors"), r.original))
	return errors.Join(err, m.umount())
}

// measure runs the helper and keeps its seconds.
func (r *reader) measure(key, how string, args ...string) error {
	out, err := exec.Command("/proc/self/exe", append([]string{"helper", how}, args...)...).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	s, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	r.seconds[key] = append(r.seconds[key], s)
	return err
}

type daemon struct {
	point string
	cmd   *exec.Cmd
}

func (r *reader) mount(store string) (*daemon, error) {
	point, err := os.MkdirTemp(r.dir, "mnt-")
	if err != nil {
		return nil, err
	}
	d := &daemon{point, exec.Command(r.excpfs, "mount", "-f", "--settle", "1h", store, point)}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var st unix.Statfs_t
		if unix.Statfs(point, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC {
			return d, nil
		}
	}
	d.cmd.Process.Kill()
	return nil, errors.New("the mount does not serve")
}

// peak is the most memory the daemon has had, in KiB.
func (d *daemon) peak() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

func (d *daemon) umount() error {
	err := unix.Unmount(d.point, 0)
	if err != nil {
		unix.Unmount(d.point, unix.MNT_DETACH)
	}
	d.cmd.Wait()
	return errors.Join(err, os.Remove(d.point))
}

// forget drops a file from the host's page cache.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

func (r *reader) rate(key string) float64 { return float64(r.size) / 1e6 / median(r.seconds[key]) }

func (r *reader) print(profile string) {
	t := newTable(fmt.Sprintf("Reading a file of %d MB, profile %s, MB/s (median of %d rounds; real tensors, matrices enlarged)",
		r.size/1e6, profile, r.rounds), "where", "read cold", "read again", "mmap cold", "mmap again", "first tensor, ms")
	row := func(name, prefix, first string) {
		cells := []string{name}
		for _, how := range []string{"read cold", "read warm", "mmap cold", "mmap warm"} {
			cells = append(cells, fmt.Sprintf("%.0f", r.rate(prefix+" "+how)))
		}
		t.add(append(cells, fmt.Sprintf("%.2f", 1000*median(r.seconds[first])))...)
	}
	row("host filesystem", onHost, onHost+" first")
	for _, d := range depths {
		prefix := fmt.Sprintf("%s depth %d", onMount, d)
		row(prefix, prefix, prefix+" first cold")
	}
	t.print()
	host, ours := r.rate(onHost+" write"), r.rate(onMount+" write")
	fmt.Printf("\nWriting until close: host %.0f MB/s, mount %.0f MB/s, %.2f of it. Peak memory of the daemon: %d MiB.\n",
		host, ours, ours/host, r.peak>>10)
}
