package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"excpfs/fs"
	"excpfs/seal"
)

// daemon is a mount being served, with compression in the background.
//
// SIGTERM and SIGINT drain for drainTime and unmount; a second one unmounts at
// once. SIGUSR1, sent by excpfs umount, compresses what waits without settling.
type daemon struct {
	server *fs.Server
	sealer *seal.Sealer // nil: read-only
	log    *slog.Logger
	cancel context.CancelFunc
	idle   chan struct{} // closed when background work has ended
}

func (d *daemon) run(ready *readiness) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	gone := make(chan struct{})
	go func() { d.server.Wait(); close(gone) }()
	d.start(d.work)
	ready.ok()
	for {
		select {
		case <-gone:
			d.stop()
			d.log.Info("unmounted")
			return nil
		case s := <-signals:
			if s == syscall.SIGUSR1 {
				d.stop()
				d.start(func(ctx context.Context) { d.drain(ctx); d.work(ctx) })
				continue
			}
			d.log.Info("ending", "signal", s.String())
			return d.end(signals, gone)
		}
	}
}

// end drains within its time, unmounts, and waits a little for open files.
func (d *daemon) end(signals <-chan os.Signal, gone <-chan struct{}) error {
	d.stop()
	d.start(d.drain)
	select {
	case <-d.idle:
	case <-gone:
	case <-signals:
	case <-time.After(drainTime):
		d.log.Warn("compression did not finish in time; the rest stays plain until the next mount")
	}
	d.stop()
	err := d.server.Unmount()
	select {
	case <-gone:
	case <-signals:
	case <-time.After(5 * time.Second):
		d.log.Warn("files are still open in the mount; they can no longer be used")
	}
	return err
}

func (d *daemon) start(fn func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	idle := make(chan struct{})
	d.cancel, d.idle = cancel, idle
	go func() { defer close(idle); fn(ctx) }()
}

func (d *daemon) stop() { d.cancel(); <-d.idle }

func (d *daemon) work(ctx context.Context) {
	if d.sealer == nil {
		return
	}
	if err := d.sealer.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		d.log.Error("compression has stopped; files written from now on stay plain", "error", err)
	}
}

func (d *daemon) drain(ctx context.Context) {
	if d.sealer == nil {
		return
	}
	plain, err := d.sealer.Drain(ctx)
	for _, e := range plain {
		if e.Waiting { // the sealer told of the others
			d.log.Info("stays plain for now", "file", e.Path, "reason", e.Reason)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		d.log.Error("compressing what waits", "error", err)
	}
}
