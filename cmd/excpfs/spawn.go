package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// readyVariable hands the descriptor of the readiness pipe to the daemon.
const readyVariable = "EXCPFS_READY_FD"

// readiness is the daemon's end of a pipe to the command that started it: "ok",
// or the text of the error. All methods work on nil, the foreground's.
type readiness struct{ pipe *os.File }

func readyPipe() *readiness {
	if os.Getenv(readyVariable) != "3" {
		return nil
	}
	os.Unsetenv(readyVariable)
	syscall.CloseOnExec(3)
	return &readiness{os.NewFile(3, "readiness")}
}

func (r *readiness) ok() { r.say("ok") }

func (r *readiness) fail(err error) error {
	if r == nil {
		return err
	}
	r.say(err.Error())
	return errReported
}

func (r *readiness) say(text string) {
	if r != nil {
		io.WriteString(r.pipe, text)
		r.pipe.Close()
	}
}

// spawn starts the daemon and returns when it serves or has failed.
func spawn(c mountConfig) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	log, err := openLogFile(c)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), readyVariable+"=3")
	cmd.Stdout, cmd.Stderr = log, log // for a panic
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case string(text) == "ok":
		return cmd.Process.Release()
	case len(text) == 0:
		return fmt.Errorf("the daemon ended before it served anything; its log, %s, says why", log.Name())
	}
	cmd.Wait()
	return errors.New(string(text))
}
