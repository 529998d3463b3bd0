// Package tests holds the tests that need the built program, the kernel, Python
// or much time. They run the program in processes of its own.
package tests
