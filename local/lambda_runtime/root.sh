#!/bin/sh
# Mounts the file system that a Lambda function sees, then runs a command, which enters it with --root="$1".
# Runs in its own mount namespace: nothing of this is visible outside, and all of it ends with the command.
#
#   root.sh ROOT PYTHON RUNTIME BOOTSTRAP EMULATOR TASK LAYERS COMMAND...
#
#   ROOT       an empty folder         PYTHON     the prefix of CPython 3.13, at /var/lang
#   RUNTIME    its site-packages       BOOTSTRAP  the program at /var/runtime/bootstrap.py
#   TASK       at /var/task            LAYERS     at /opt: folders between colons, an earlier one hides a later one
set -eu
umask 022
root=$1 python=$2 runtime=$3 bootstrap=$4 emulator=$5 task=$6 layers=$7
shift 7

read_only() {
	mount --bind "$1" "$2"
	mount -o remount,bind,ro,nosuid "$2"
}

file() {
	: >"$2"
	read_only "$1" "$2"
}

mount -t tmpfs -o mode=0755,size=1m lambda "$root"
mkdir -p "$root/dev" "$root/proc" "$root/tmp" "$root/etc" "$root/opt" "$root/var/task" "$root/var/lang" \
	"$root/var/runtime" "$root/usr/local/bin"

# The C library and what Python links to. In Lambda they are Amazon Linux's; the layers bring everything else.
for folder in /usr/lib /usr/lib64 /lib /lib64; do
	if [ -L "$folder" ]; then
		cp -P "$folder" "$root$folder"
	elif [ -d "$folder" ]; then
		mkdir -p "$root$folder"
		read_only "$folder" "$root$folder"
	fi
done
if [ -f /etc/ld.so.cache ]; then cp /etc/ld.so.cache "$root/etc/ld.so.cache"; fi
echo "127.0.0.1 localhost" >"$root/etc/hosts"
echo "sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin" >"$root/etc/passwd"
for device in null zero random urandom; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777,size=512m,nosuid,nodev tmp "$root/tmp"

read_only "$python" "$root/var/lang"
# Hides the packages that this machine has installed there, which Lambda does not have.
read_only "$runtime" "$root/var/lang/lib/python3.13/site-packages"
file "$bootstrap" "$root/var/runtime/bootstrap.py"
file "$emulator" "$root/usr/local/bin/aws-lambda-rie"
read_only "$task" "$root/var/task"
case $layers in
'') ;;
*:*) mount -t overlay -o "ro,nosuid,lowerdir=$layers" layers "$root/opt" ;;
*) read_only "$layers" "$root/opt" ;;
esac
mount -o remount,ro,nosuid,nodev,mode=0755,size=1m "$root"

# No exec: the kernel signals this shell when its parent ends, and all other processes here end with it. A program that
# changes its user loses that signal.
"$@"
