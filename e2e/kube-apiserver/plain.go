package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"k8s.io/klog/v2"
)

// servePlain opens a second listener for the same handler, authentication and all. A proxy that shall cut or
// delay what is said has to understand it.
func servePlain(ctx context.Context, port int, handler http.Handler) error {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	plain := &http.Server{Handler: handler}
	go func() {
		<-ctx.Done()
		_ = plain.Close()
	}()
	go func() {
		if err := plain.Serve(listener); err != nil && err != http.ErrServerClosed {
			klog.ErrorS(err, "The plain listener has ended")
		}
	}()
	return nil
}
