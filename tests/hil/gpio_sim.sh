# Run in the guest's image when it is made: gpio-sim, the kernel's simulated GPIO chip, which Debian does not build.
# Its two files come from Debian's source of this very kernel, and are compiled with Debian's headers and compiler, all of
# which are removed again. irq_sim is an option of the kernel that is not set: it becomes a part of this module, by the
# one call that a module may make in place of the kernel's own.
kernel=$(ls /lib/modules)
tools="gcc make xz-utils linux-headers-$kernel"
apt-get -q update
# shellcheck disable=SC2086  # one word per package is what is wanted
apt-get -q -y install --no-install-recommends $tools
work=$(mktemp -d)
cd "$work"
apt-get -q download linux-source-6.1
tree=linux-source-6.1
dpkg-deb --fsys-tarfile linux-source-6.1_*.deb | tar -xO ./usr/src/$tree.tar.xz |
  tar -xJ --strip-components=1 $tree/drivers/gpio/gpio-sim.c $tree/drivers/gpio/gpiolib.h $tree/kernel/irq/irq_sim.c
mkdir module
cp drivers/gpio/gpio-sim.c module/sim.c
cp drivers/gpio/gpiolib.h module/
sed 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq_safe(irqnum)/' kernel/irq/irq_sim.c >module/irqsim.c
grep -q generic_handle_irq_safe module/irqsim.c
printf 'obj-m := gpio-sim.o\ngpio-sim-y := sim.o irqsim.o\n' >module/Makefile
make -C "/usr/src/linux-headers-$kernel" M="$work/module" modules
install -D -m 644 module/gpio-sim.ko "/lib/modules/$kernel/updates/gpio-sim.ko"
depmod "$kernel"
cd /
rm -rf "$work"
# shellcheck disable=SC2086
apt-get -q -y purge --autoremove $tools
apt-get clean
rm -rf /var/lib/apt/lists/*
